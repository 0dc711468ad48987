package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
)

// errPrivate says that an address is none of the public Internet's.
var errPrivate = errors.New("the address is not public")

// CheckURL says, in words for who asked, why events may not be sent to a URL. A name is
// taken as it is: what it stands for may change, so each connection is checked.
func (s *Sender) CheckURL(text string) error {
	target, err := url.Parse(text)
	switch {
	case err != nil || target.Hostname() == "":
		return errors.New("must be a URL such as https://example.com/events")
	case !s.mayUse(target.Scheme):
		return errors.New("must begin with https://")
	case target.User != nil:
		return errors.New("must not name a user")
	case strings.Contains(text, "#"):
		return errors.New("must not have a fragment")
	}
	if addr, err := netip.ParseAddr(target.Hostname()); err == nil && !s.allowPrivate && !isPublic(addr) {
		return errors.New("must not be a private, loopback or otherwise special address")
	}
	return nil
}

// mayUse says whether a scheme is encrypted, or need not be.
func (s *Sender) mayUse(scheme string) bool {
	return scheme == "https" || scheme == "http" && s.allowPrivate
}

// refusePrivate looks at the address that a connection is just being made to, after
// names were resolved, so that no name can lead to where a literal may not.
func refusePrivate(_ context.Context, _, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q", errPrivate, address)
	}
	if !isPublic(target.Addr()) {
		return errPrivate
	}
	return nil
}

// isPublic says whether an address is a unicast one of the public Internet, by IANA's
// registries of special addresses. Of IPv6 only what is given out as global unicast is.
// An IPv4 address inside of an IPv6 one is judged by itself.
func isPublic(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if inner, found := embedded(addr); found {
		return isPublic(inner)
	}
	if addr.Is6() && !netip.MustParsePrefix("2000::/3").Contains(addr) {
		return false
	}
	for _, text := range specialRanges() {
		if netip.MustParsePrefix(text).Contains(addr) {
			return false
		}
	}
	return addr.IsValid()
}

// embedded finds the IPv4 address that a translator (NAT64) or a relay (6to4) would
// send to.
func embedded(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	bytes := addr.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(addr):
		return netip.AddrFrom4([4]byte(bytes[12:])), true
	case netip.MustParsePrefix("2002::/16").Contains(addr):
		return netip.AddrFrom4([4]byte(bytes[2:6])), true
	default:
		return netip.Addr{}, false
	}
}

// specialRanges are the ranges that are not public, of IPv4 and within 2000::/3.
func specialRanges() []string {
	return []string{
		"0.0.0.0/8",       // this network
		"10.0.0.0/8",      // private
		"100.64.0.0/10",   // shared by carriers
		"127.0.0.0/8",     // loopback
		"169.254.0.0/16",  // link-local, and clouds' metadata
		"172.16.0.0/12",   // private
		"192.0.0.0/24",    // protocol assignments
		"192.0.2.0/24",    // documentation
		"192.88.99.0/24",  // relays that are no more
		"192.168.0.0/16",  // private
		"198.18.0.0/15",   // benchmarks
		"198.51.100.0/24", // documentation
		"203.0.113.0/24",  // documentation
		"224.0.0.0/4",     // multicast
		"240.0.0.0/4",     // reserved, and broadcast
		"2001::/23",       // protocol assignments, tunnels among them
		"2001:db8::/32",   // documentation
		"3fff::/20",       // documentation
	}
}
