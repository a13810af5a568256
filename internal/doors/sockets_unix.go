//go:build linux || darwin

package doors

import (
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// guessed is how many descriptors are looked at where the system does not list them.
const guessed = 1024

// own calls do with all descriptors of this process and returns its first error.
func own(do func(fd int) error) error {
	var fds []int
	if f, err := os.Open(descriptors); err == nil {
		names, _ := f.Readdirnames(-1)
		f.Close()
		for _, name := range names {
			if fd, err := strconv.Atoi(name); err == nil {
				fds = append(fds, fd)
			}
		}
	}
	if len(fds) == 0 {
		for fd := range guessed {
			fds = append(fds, fd)
		}
	}
	var first error
	for _, fd := range fds {
		if err := do(fd); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// endpoint is the IP address and the port of a socket's name; the port is -1 where it has none.
func endpoint(sa unix.Sockaddr, err error) (net.IP, int) {
	if err != nil {
		return nil, -1
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return a.Addr[:], a.Port
	case *unix.SockaddrInet6:
		return a.Addr[:], a.Port
	}
	return nil, -1
}

// listensAt says whether fd is a socket that listens at a TCP port.
func listensAt(fd, port int) bool {
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || listens == 0 {
		return false
	}
	_, at := endpoint(unix.Getsockname(fd))
	return at == port
}

// strange says whether fd is a connection of another host to a TCP port.
func strange(fd, port int) bool {
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || typ != unix.SOCK_STREAM {
		return false
	}
	if _, at := endpoint(unix.Getsockname(fd)); at != port {
		return false
	}
	peer, at := endpoint(unix.Getpeername(fd))
	return at >= 0 && !peer.IsLoopback()
}

// hangUp ends a connection; its descriptor is closed by who reads from it.
func hangUp(fd int) { _ = unix.Shutdown(fd, unix.SHUT_RDWR) }
