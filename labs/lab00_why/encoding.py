"""Step 1: encoding is not encryption."""
