"""One file a subject: data, modules, losses, gradients, optimizers."""
