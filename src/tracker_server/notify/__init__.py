"""The ways to reach people: e-mail by SMTP, messengers by apprise."""
