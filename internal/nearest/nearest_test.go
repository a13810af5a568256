package nearest

import (
	"slices"
	"testing"
)

func TestName(t *testing.T) {
	names := []string{"sequence_length", "Packing", "order", "odder"}
	for _, c := range []struct{ given, want string }{
		{"sequence_lenght", "sequence_length"}, {"PACKING", "Packing"}, {"oder", "odder"}, {"", "odder"},
	} {
		if got := Name(c.given, names); got != c.want {
			t.Errorf("%q: %q, want %q", c.given, got, c.want)
		}
	}
	if !slices.Equal(names, []string{"sequence_length", "Packing", "order", "odder"}) {
		t.Errorf("the names were changed: %q", names)
	}
	if got := Name("x", nil); got != "" {
		t.Errorf("of no names: %q", got)
	}
}
