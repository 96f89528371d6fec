package plugin

import "testing"

func TestClosest(t *testing.T) {
	names := []string{"Sci", "Sum", "Subtract", "Multiply", "MockObservations", "time-sync", "defaults"}
	for name, want := range map[string]string{
		"Sic": "Sci", "sci": "Sci", "time-snyc": "time-sync", "Mltiply": "Multiply", "MockObservation": "MockObservations", "timesync": "time-sync", "default": "defaults",
		"Smu": "Sum", "Shell": "", "": "", "x": "",
	} {
		if got := Closest(name, names); got != want {
			t.Errorf("%q is like %q, want %q", name, got, want)
		}
	}
}
