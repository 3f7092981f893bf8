#!/bin/sh
# Stands for vmward-inventory: runs what --uri says.
eval "$2"
