// Package hcp has the names that Vault uses of vault-hcp-lib and does nothing.
//
// `vault hcp connect` logs in to HashiCorp's own cloud. Its client is generated and large; the
// labs have a Vault of their own. The command is not there, and nobody is logged in.
package hcp

import (
	"time"

	"github.com/hashicorp/cli"
)

// HCPToken is what a log-in would leave.
type HCPToken struct {
	AccessToken       string
	AccessTokenExpiry time.Time
	ProxyAddr         string
}

// HCPTokenHelper finds the token of a log-in.
type HCPTokenHelper interface {
	GetHCPToken(path string) (*HCPToken, error)
}

// InternalHCPTokenHelper finds none.
type InternalHCPTokenHelper struct{}

// GetHCPToken finds none.
func (*InternalHCPTokenHelper) GetHCPToken(string) (*HCPToken, error) { return nil, nil }

// InitHCPCommand has no command.
func InitHCPCommand(cli.Ui) map[string]cli.CommandFactory { return nil }
