package attribution

import (
	"noether/internal/energy"
	"noether/internal/unit"
)

// Proportional divides everything by share of busy time: both parts, told
// apart as Utilisation does, follow the CPU time. Only a tick in which
// nothing ran leaves energy in the idle account.
type Proportional struct{}

// Name is the word for --policy.
func (Proportional) Name() string { return "proportional" }

func (Proportional) split(a *energy.Amount, t *Tick) unit.Energy {
	return Utilisation{}.split(a, t)
}

func (Proportional) sharesIdleByUse() bool { return true }
