"""Problems of training on several devices, of repeating a run, and of what files may do."""
