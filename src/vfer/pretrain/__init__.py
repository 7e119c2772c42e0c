"""The `pretrain` step: train the CNN's backbone to recognise people."""
