// Package site knows what surrounds a machine: the carbon intensity and the
// price of its electricity, the power usage effectiveness (PUE) of its site,
// and what making its hardware caused. It puts them together into the one
// immutable value that each tick of the agent is booked with.
//
// It refuses to hold up a tick: whatever has to be asked for is asked for
// elsewhere, by Run, and a tick takes what is known by then. It refuses to
// guess: what nobody knows is absent, never 0.
package site
