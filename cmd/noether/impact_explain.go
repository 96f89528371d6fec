package main

import (
	"noether/internal/impact"
	"noether/internal/impact/builtin"
	disclosure "noether/internal/impact/report"
)

// printExplanation prints where one number of the output comes from.
func (o *runOptions) printExplanation(p *process, outcome *impact.Outcome) error {
	e, err := impact.Explain(outcome.Output.Object(), builtin.Methods(), o.explain)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	return disclosure.Explain(p.stdout, e)
}
