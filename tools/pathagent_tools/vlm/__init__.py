"""Vision-language models: what each role is asked, and the back ends that answer."""
