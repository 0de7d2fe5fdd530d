"""The collector: takes click events from web pages by HTTP and sends them to the topic."""
