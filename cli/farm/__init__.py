"""Jobs on a cluster of Ray: workers that own a ComfyUI each, and the command that gives them jobs. Nothing else imports ray."""
