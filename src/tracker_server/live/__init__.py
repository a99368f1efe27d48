"""What is pushed to open sockets: each change read once, encoded once, and handed to those who may see it."""
