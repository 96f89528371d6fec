package main

import (
	"testing"
	"time"

	"noether/internal/config"
)

// What is served before the first tick has the labels of what comes after it.
func TestAboutHasTheNodeName(t *testing.T) {
	cfg := config.Default()
	cfg.Agent.NodeName = "n1"
	if got := about(&cfg, time.Now()).Node; got != "n1" {
		t.Errorf("the node is called %q", got)
	}
}
