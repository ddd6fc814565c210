// What Linux offers and Swift's Glibc module does not import: constants, macros and calls that take transparent unions.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sys/epoll.h>
#include <sys/socket.h>
#include <netinet/in.h>
