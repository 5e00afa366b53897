module github.com/hashicorp/go-gcp-common

go 1.25.0

require golang.org/x/oauth2 v0.34.0
