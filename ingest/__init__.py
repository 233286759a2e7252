"""The HTTP endpoint: Segment's Tracking API and its webhook. Events are durable in Redis before the response 200."""
