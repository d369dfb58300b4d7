"""What a run leaves for machines and people: results.json, a picture, a table in the terminal."""
