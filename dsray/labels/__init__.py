"""Labels as people and programs give them: files read and written, votes combined. Knows no Ray and no storage."""
