"""What tests of several folders share: servers, clients, sample files, table contents."""
