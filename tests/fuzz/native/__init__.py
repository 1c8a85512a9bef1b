"""Coverage-guided fuzzing of the native engine: `make fuzz-native`."""
