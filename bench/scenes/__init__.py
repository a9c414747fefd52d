"""Labelled scenes to measure the watcher with: what happens in them is known from how they are made."""
