package attribution

import (
	"noether/internal/energy"
	"noether/internal/unit"
)

// Utilisation calls the busy share of a component's energy dynamic: energy x
// busy / capacity. A component that states its own floor (the model) is
// dynamic above that floor. Idle energy is nobody's unless it is reserved.
type Utilisation struct{}

// Name is the word for --policy.
func (Utilisation) Name() string { return "utilisation" }

func (Utilisation) split(a *energy.Amount, t *Tick) unit.Energy {
	if a.HasFloor {
		return a.Energy - min(a.Floor, a.Energy)
	}
	if t.Busy >= t.Capacity {
		return a.Energy
	}
	return unit.Energy(unit.MulDiv(uint64(max(a.Energy, 0)), uint64(t.Busy), uint64(t.Capacity)))
}

func (Utilisation) sharesIdleByUse() bool { return false }
