"""The wire's structs: drafts and patches come in, views go out."""
