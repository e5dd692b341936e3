"""The reviewer's pages: server-rendered, on the same engine as the API, with no rule of their own."""
