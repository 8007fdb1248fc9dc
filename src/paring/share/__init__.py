"""Few values for many weights, so that the coded file is small. One file per method."""
