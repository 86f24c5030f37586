"""What happened on a trading day or in a week: figures, text and a page, from stored rows alone."""
