"""Everything broken on purpose while a fleet reports, customers pay and mails go out; then a judge. See run.py."""
