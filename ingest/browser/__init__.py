"""What web pages load: the settings of analytics.js, its script, the pixel, and the public address."""
