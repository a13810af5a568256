// Package doors keeps other hosts away from servers that listen on all interfaces and take no host to listen at: their sockets, which
// listen already, are confined to the loopback interface. Nothing of it needs a privilege, and nothing keeps other users of the same
// machine away.
//
//	| system                  | by                                                                     |
//	|-------------------------|------------------------------------------------------------------------|
//	| Linux 5.7 and newer     | SO_BINDTODEVICE and a socket filter                                    |
//	| Linux before            | the socket filter: what comes over another interface is not heard      |
//	| macOS                   | IP_BOUND_IF and IPV6_BOUND_IF (not run so far)                         |
//	| Windows and all others  | nothing: [ErrNoWay]                                                    |
package doors

import (
	"errors"
	"fmt"
	"net"
)

// ErrNoWay says that the system cannot confine a socket that listens already.
var ErrNoWay = errors.New("this system cannot confine a socket that listens already to the loopback interface")

// Loopback is the loopback interface.
type Loopback struct {
	name  string
	index int
}

// Find returns the loopback interface.
func Find() (*Loopback, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("the network interfaces: %w", err)
	}
	for _, i := range list {
		if i.Flags&net.FlagLoopback != 0 {
			return &Loopback{name: i.Name, index: i.Index}, nil
		}
	}
	return nil, errors.New("the network interfaces: none is the loopback interface")
}

// Confine confines the sockets of this process that listen at a TCP port.
func (l *Loopback) Confine(port int) error {
	found := false
	err := own(func(fd int) error {
		if !listensAt(fd, port) {
			return nil
		}
		found = true
		return l.ConfineSocket(fd)
	})
	if err == nil && !found {
		err = errors.New("no socket of this process listens there")
	}
	if err != nil {
		return fmt.Errorf("port %d: %w", port, err)
	}
	return nil
}

// ConfineSocket confines the listening TCP socket fd: from now on it takes connections over the loopback interface alone. Those that were
// made before stay ([Disconnect]).
func (l *Loopback) ConfineSocket(fd int) error { return l.confine(fd, system) }

// confine tries all ways of a system; one is enough.
func (l *Loopback) confine(fd int, ways []way) error {
	err, done := ErrNoWay, false
	for i, w := range ways {
		switch failed := w.set(l, fd); {
		case failed == nil:
			done = true
		case i == 0:
			err = fmt.Errorf("%s: %w", w.name, failed)
		default:
			err = fmt.Errorf("%w; %s: %w", err, w.name, failed)
		}
	}
	if done {
		return nil
	}
	return err
}

// Disconnect ends the connections that other hosts have made to a TCP port of this process.
func Disconnect(port int) {
	_ = own(func(fd int) error {
		if strange(fd, port) {
			hangUp(fd)
		}
		return nil
	})
}
