"""Pictures and labels: the one decoder, readers of users' layouts, embedded data, preprocessing."""
