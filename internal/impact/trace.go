package impact

// Trace records what each plugin does to each observation.
type Trace struct{}
