"""All methods of localization side by side: what they find, how long they take, and one picture by each."""
