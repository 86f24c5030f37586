"""What must survive: SQLite, one connection, one writer."""
