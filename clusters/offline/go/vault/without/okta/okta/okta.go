// Package okta has the names that Vault uses of the Okta SDK and does nothing.
//
// Vault's login MFA can ask Okta for a second factor. The SDK is one package of 12 MB
// that alone takes half a minute to compile. The first call, NewConfiguration, refuses
// with a reason, so that nothing behind it is ever reached.
package okta

import (
	"context"
	"errors"
)

var errLeftOut = errors.New("okta is left out of this build of Vault")

// Configuration says how to reach Okta.
type Configuration struct{ Context context.Context }

// ConfigSetter changes a Configuration.
type ConfigSetter func(*Configuration)

// NewConfiguration refuses.
func NewConfiguration(...ConfigSetter) (*Configuration, error) { return nil, errLeftOut }

// WithToken ignores the token.
func WithToken(string) ConfigSetter { return func(*Configuration) {} }

// WithOrgUrl ignores the address.
func WithOrgUrl(string) ConfigSetter { return func(*Configuration) {} }

// WithCache ignores the choice.
func WithCache(bool) ConfigSetter { return func(*Configuration) {} }

// APIClient calls Okta.
type APIClient struct {
	UserAPI       UserAPI
	UserFactorAPI UserFactorAPI
	config        *Configuration
}

// NewAPIClient returns a client whose calls all refuse.
func NewAPIClient(config *Configuration) *APIClient { return &APIClient{config: config} }

// GetConfig returns what the client was made with.
func (client *APIClient) GetConfig() *Configuration { return client.config }

// Response is what HTTP brought; never used.
type Response struct{}

// Request is a call that refuses when it is executed.
type Request[Result any] struct{}

// Execute refuses.
func (Request[Result]) Execute() (Result, *Response, error) {
	var nothing Result
	return nothing, nil, errLeftOut
}

// Filter ignores the filter.
func (request Request[Result]) Filter(string) Request[Result] { return request }

// UserAPI lists users.
type UserAPI struct{}

// ListUsers makes a call that refuses.
func (UserAPI) ListUsers(context.Context) Request[[]User] { return Request[[]User]{} }

// UserFactorAPI lists and verifies second factors.
type UserFactorAPI struct{}

// ListFactors makes a call that refuses.
func (UserFactorAPI) ListFactors(context.Context, string) Request[[]Factor] {
	return Request[[]Factor]{}
}

// VerifyFactor makes a call that refuses.
func (UserFactorAPI) VerifyFactor(context.Context, string, string) Request[*Verification] {
	return Request[*Verification]{}
}

// GetFactorTransactionStatus makes a call that refuses.
func (UserFactorAPI) GetFactorTransactionStatus(
	context.Context, string, string, string,
) Request[*Transaction] {
	return Request[*Transaction]{}
}

// User is a person in Okta.
type User struct{}

// GetId returns nothing.
func (User) GetId() string { return "" }

// Factor is one of the ways a user proves who they are.
type Factor struct{ UserFactorPush *UserFactorPush }

// UserFactorPush is a push message to a phone.
type UserFactorPush struct{}

// GetId returns nothing.
func (UserFactorPush) GetId() string { return "" }

// Verification is the answer to a started verification.
type Verification struct{ Links map[string]any }

// GetFactorResult returns nothing.
func (Verification) GetFactorResult() string { return "" }

// Transaction is how far a verification is; which field is set says so.
type Transaction struct {
	UserFactorPushTransactionWaiting  *struct{}
	UserFactorPushTransaction         *struct{}
	UserFactorPushTransactionRejected *struct{}
	UserFactorPushTransactionTimeout  *struct{}
}
