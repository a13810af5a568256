package quant

import (
	"fmt"
	"strings"
)

// Storage is a way of storing frozen weights.
type Storage struct {
	Name string // torch's, or bitsandbytes'
	// New stores the matrix [out, in] whose element (o, i) is w[o·rs + i·cs].
	New func(out, in int, w []float32, rs, cs int) Weight
}

// Storages is the table of storages. A new one is a file and a row here; the row drives its tests.
var Storages = []Storage{
	{Name: "float32", New: NewF32},
	{Name: "bfloat16", New: NewBF16},
}

// StorageOf finds a storage by its name.
func StorageOf(name string) (*Storage, error) {
	var names []string
	for i := range Storages {
		if Storages[i].Name == name {
			return &Storages[i], nil
		}
		names = append(names, Storages[i].Name)
	}
	return nil, fmt.Errorf("no storage of weights is called %q; there are %s", name, strings.Join(names, ", "))
}
