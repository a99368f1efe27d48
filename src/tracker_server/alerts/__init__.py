"""What people are told, in their own language: pure."""
