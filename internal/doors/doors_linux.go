package doors

import (
	"golang.org/x/sys/unix"
)

var system = []way{device(unix.SetsockoptString, unix.SOL_SOCKET, unix.SO_BINDTODEVICE), filter(attach)}

const descriptors = "/proc/self/fd"

func attach(fd int, program []instruction) error {
	code := make([]unix.SockFilter, len(program))
	for i, p := range program {
		code[i] = unix.SockFilter{Code: p.code, Jt: p.jt, Jf: p.jf, K: p.k}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
}
