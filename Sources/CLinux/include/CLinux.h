// What Linux offers and Swift's Glibc module does not import: constants, macros and calls that take transparent unions.
// Each room's needs are in a header of their own.
#pragma once
#include "CLinuxHeartbeat.h"
#include "CLinuxNetwork.h"
#include "CLinuxProcess.h"
#include "CLinuxSocket.h"
#include "CLinuxListen.h"
#include "CLinuxLocal.h"
#include "CLinuxStream.h"
#include "CLinuxFile.h"
#include "CLinuxNames.h"
