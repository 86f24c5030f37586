"""What other limits would have done on recorded days. Pure: no files, no clock."""
