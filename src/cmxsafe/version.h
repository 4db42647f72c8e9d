/* version.h - the only definition of the version; CMake, library.properties and idf_component.yml are checked against
 * it. */
#pragma once

#define CMX_VERSION "0.1.0"
