// Package shared keeps values that several users of a process share for as long as one of them has it: a value is made once for all, and
// the garbage collector takes it when the last user is gone.
package shared

import (
	"runtime"
	"sync"
	"weak"
)

// Map holds values by key, weakly. The zero value is ready.
type Map[K comparable, V any] struct {
	mu     sync.Mutex
	values map[K]weak.Pointer[V]
}

// Get returns the value of a key, made by make where nobody has it any more. One value is made at a time; an error is kept for nobody.
func (m *Map[K, V]) Get(key K, make func() (*V, error)) (*V, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.values[key].Value(); v != nil {
		return v, nil
	}
	v, err := make()
	if err != nil {
		return nil, err
	}
	if m.values == nil {
		m.values = map[K]weak.Pointer[V]{}
	}
	m.values[key] = weak.Make(v)
	runtime.AddCleanup(v, m.forget, key)
	return v, nil
}

// forget drops the key of a value that is gone, unless another has been made since.
func (m *Map[K, V]) forget(key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values[key].Value() == nil {
		delete(m.values, key)
	}
}

// Len is the number of keys whose values somebody has, or had until shortly before.
func (m *Map[K, V]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.values)
}
