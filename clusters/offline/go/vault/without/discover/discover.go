// Package discover has the names that Vault uses of hashicorp/go-discover and does nothing.
//
// The real one finds raft peers through fourteen clouds' libraries, one minute of
// compiling. The labs join raft peers by address; `auto_join` is refused with a reason.
package discover

import (
	"errors"
	"log"
)

var errLeftOut = errors.New("auto_join is left out of this build of Vault: use leader_api_addr")

// Config is a parsed auto_join setting.
type Config map[string]string

// String returns the empty setting.
func (Config) String() string { return "" }

// Parse refuses any auto_join setting.
func Parse(string) (Config, error) { return nil, errLeftOut }

// Provider finds addresses in one cloud.
type Provider interface {
	Addrs(args map[string]string, log *log.Logger) ([]string, error)
	Help() string
}

// Providers is empty: this build knows no cloud.
var Providers = map[string]Provider{}

// Discover finds addresses through its providers.
type Discover struct{}

// Option changes a Discover.
type Option func(*Discover) error

// WithProviders ignores the providers.
func WithProviders(map[string]Provider) Option {
	return func(*Discover) error { return nil }
}

// New returns a Discover that finds nothing.
func New(...Option) (*Discover, error) { return &Discover{}, nil }

// Addrs refuses to look.
func (*Discover) Addrs(string, *log.Logger) ([]string, error) { return nil, errLeftOut }
