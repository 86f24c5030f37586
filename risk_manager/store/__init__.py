"""Everything that must survive a restart, in SQLite: one connection, one writer."""
