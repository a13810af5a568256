package kernels

import "testing"

type testSet struct {
	name string
	use  func(t testing.TB)
}

func sets() []testSet {
	return []testSet{{"plain", func(testing.TB) {}}}
}
