"""What the checks work with: graphs, films, damaged files, and writers to be killed."""
