"""Speed of the native engine beside its peers; `make bench` runs it all."""
