package doors

// way is one means by which a listening socket hears the loopback interface alone.
type way struct {
	name string
	set  func(l *Loopback, fd int) error
}

// device binds the socket to the device. set is setsockopt with a string.
func device(set func(fd, level, option int, value string) error, level, option int) way {
	return way{"SO_BINDTODEVICE", func(l *Loopback, fd int) error { return set(fd, level, option, l.name) }}
}

// instruction is one of the classic Berkeley Packet Filter.
type instruction struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

// overInterface is the program that takes packets which came over one interface, and drops all others.
func overInterface(index int) []instruction {
	const (
		loadWord    = 0x20       // BPF_LD | BPF_W | BPF_ABS
		jumpEqual   = 0x15       // BPF_JMP | BPF_JEQ | BPF_K
		back        = 0x06       // BPF_RET | BPF_K
		interfaceOf = 0xfffff008 // SKF_AD_OFF + SKF_AD_IFINDEX: Linux tells the interface there
	)
	return []instruction{
		{code: loadWord, k: interfaceOf},
		{code: jumpEqual, jf: 1, k: uint32(index)},
		{code: back, k: 0xffffffff},
		{code: back, k: 0},
	}
}

// filter attaches [overInterface]. The socket hands it on to connections, half-made ones too, which a binding to the device does not touch.
func filter(attach func(fd int, program []instruction) error) way {
	return way{"SO_ATTACH_FILTER", func(l *Loopback, fd int) error { return attach(fd, overInterface(l.index)) }}
}

// Darwin's options, which golang.org/x/sys names on that system alone (doors_darwin.go compares).
const (
	levelIP      = 0
	levelIPv6    = 41
	ipBoundIf    = 25
	ipv6BoundIf  = 125
	familyDarwin = 30 // AF_INET6 there
)

// boundIf binds the socket to the interface, by the option of its family. set is setsockopt, family tells a socket's.
func boundIf(set func(fd, level, option, value int) error, family func(fd int) (int, error)) way {
	return way{"IP_BOUND_IF", func(l *Loopback, fd int) error {
		f, err := family(fd)
		switch {
		case err != nil:
			return err
		case f == familyDarwin:
			return set(fd, levelIPv6, ipv6BoundIf, l.index)
		}
		return set(fd, levelIP, ipBoundIf, l.index)
	}}
}
